"""Layouts of public data sets and of robot learning."""
