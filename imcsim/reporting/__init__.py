"""Show what anybody gets to see: reports, tables, figures, traces and texts for the terminal."""
