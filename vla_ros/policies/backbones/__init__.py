"""What a vision-language backbone reads, and how it is built."""
