"""`macaque doctor`: a test of everything that a program needs of its broker, step by step."""
