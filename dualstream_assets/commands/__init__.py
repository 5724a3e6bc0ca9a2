"""The commands, one module per errand. They open the workplace, call one function of a room, and print."""
