"""What a comparison is made of: closed forms beside runs, rows with ratios, crossover batches."""
