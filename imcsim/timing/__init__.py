"""The pass with a clock: operations of a plan become jobs of an engine, which says when everything happens."""
