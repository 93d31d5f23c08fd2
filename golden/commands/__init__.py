"""The commands of `golden`, a module for each thing that a person comes to do."""
