"""Which part of the data matters, how much of it can go, and at what price? Trials, and what they show.

What is asked: `spec` (a frozen value, TOML out and in), `presets` (the report's experiments).
What is trained: `splits`, `arms` and `km` (data and scores), `grid` and `curriculum` (which rows), `plan` (by what, at what price),
`trials` (one training and its file), `labour` (all of them, side by side), `conduct` (the study from beginning to end), `opened`.
What it shows: `cells`, `statistics`, `areas`, `summary`; `agreement` and `reliability` of scores; `cost` and `advice`.

Nothing is imported here: what is read back from disk needs no torch.
"""
