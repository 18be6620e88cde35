"""Every figure and table of the paper, drawn from what a profile measured."""
