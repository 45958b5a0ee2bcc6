"""How a run goes and what is kept of it: command lines, folders, files, memory, time."""
