"""Networks that learn on cells, or for them; the only wing that knows PyTorch."""
