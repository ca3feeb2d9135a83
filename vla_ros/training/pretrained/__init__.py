"""Fine-tuning of pretrained vision-language backbones."""
