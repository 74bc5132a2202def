"""Word problems with worked solutions that this project makes itself, from templates and composed from parts."""
