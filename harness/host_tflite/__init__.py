"""Host TFLite in a process of its own: for some models its C++ ends the process it runs in."""
