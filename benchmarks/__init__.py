"""What measures: costs, the released schedule, fidelity, throughput, result tables. Not in the wheel."""
