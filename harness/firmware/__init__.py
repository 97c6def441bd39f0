"""From a program to a firmware image: sources, compilers, and what the image is made of."""
