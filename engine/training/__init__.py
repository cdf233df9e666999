"""How the shipped models are made: tokenizer, data, model, training loop, baseline, card.

What generates data (`tokenizer`, `data`, `ngram`) imports no torch, so that worker processes
start fast; `run.train` puts the parts together.
"""
