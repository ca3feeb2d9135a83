"""Training of vision-language-action models."""
