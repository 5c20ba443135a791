"""The report on a sweep, finished or running: tables, figures and one page.

report.html             everything, in one file
report.md               the tables
configurations.csv      means and standard deviations over seeds
trials.csv              every trial, whatever became of it
effects.csv             the effect of each value with all else equal
*.png, *.svg            the figures
"""
