"""Vision-language-action networks: backbones, policy heads, action tokens."""
