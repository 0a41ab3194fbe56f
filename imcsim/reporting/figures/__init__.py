"""Figures for a paper or a screen."""
