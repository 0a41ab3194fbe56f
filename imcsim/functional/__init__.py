"""The values pass: integer layers on crossbars of cells, as the hardware file describes them."""
