"""Training of the vision-language model below a VLA."""
