"""Writers: a canonical recording out to the format that another tool reads, sweep by sweep."""
