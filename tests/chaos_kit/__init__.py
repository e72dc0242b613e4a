"""What the chaos tests are made of: real processes, load, faults, and the checks of what is left afterwards."""
