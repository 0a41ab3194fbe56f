"""Views of reports for the terminal."""
