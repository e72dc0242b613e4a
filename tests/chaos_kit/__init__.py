"""The parts of the chaos tests: real processes, load, faults, and the checks afterwards."""
