"""Files of a source: listings, archives and their members, and where a TIFF holds its pixels."""
