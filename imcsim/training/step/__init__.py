"""Simulate one step of training on the engine of inference: forward, backward, outer products, updates of weights.

``step.train_step`` prices a step, ``calibration.simulate_calibration`` the calibration behind a training.
"""
