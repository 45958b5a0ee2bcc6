"""What tests share: cases, oracles, broken input, the emulated CUDA device."""
