"""Plans: place scenes on a grid, cut the grid into units, write the cube's documents."""
