"""Do what ``imcsim train`` does: trainings over widths and seeds, their ageing, wear, size and cost, and one report."""
