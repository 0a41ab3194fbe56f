"""Draw figures for a paper or a screen."""
