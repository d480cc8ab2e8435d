"""LoRA adapters as files: reading them, checking them against their base model, and writing PEFT ones as GGUF."""
