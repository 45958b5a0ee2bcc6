"""Convolutions of images: direct sums, Winograd's tiles, and the direct sums that decide ties."""
