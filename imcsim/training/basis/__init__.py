"""Training of a fitted basis and its coefficients against the task, with PyTorch (the extra ``train``)."""
