"""Which part of the data matters, how much of it can go, and at what cost: trials, and what they show.

What is asked: `spec`, `presets`. What is trained: `splits`, `conditions` (data and scores), `grid` (which rows, by what),
`trial` (one training and its file), `run_trials` (all, side by side), `runner` (the whole study), `study` (read back).
What it shows: `results_table`, `statistics`, `auc`, `summary`; `cost`, `advice`; `wording`.

Nothing is imported here: what is read back from disk needs no torch.
"""
