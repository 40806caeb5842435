"""Files of points: PCD, PLY, LAS, alone or in folders with poses."""
