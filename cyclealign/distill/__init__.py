"""Distillation jobs: one package per job, which imports no other job, and the parts that they share.

Every job has `job` (NAME, VERSION, Config, inputs, run) and is found through `registry`; `run` opens its run in the
store and hands it `steps`. The same file name means the same thing in every job:

| file | holds |
|---|---|
| `job` | NAME, VERSION, Config, ``inputs(config)`` and ``run(config, steps)``: the order of the steps |
| `config` | VERSION and the settings, as the form in the UI shows them; loads no torch |
| `data` | the data of a run: items and splits, loaded from the settings |
| `sources` | reading of users' files and of data sets |
| `score_file` | reading of a file with a teacher's scores |
| `demo_data` | generated data of the demo |
| `demo_models` | small models of the demo |
| `preprocessing` | conversion of raw inputs to a model's tensors |
| `teacher_models` | the models that can be the teacher |
| `labels` | the teacher's output, computed once and cached |
| `losses` | losses as pure functions of tensors |
| `model` | the network, if teacher and student share the class |
| `student`, `students` | the network that is trained, if the teacher's differs: build, load, save |
| `tuning` | choice of settings on validation items |
| `train` | training of the network |
| `predict` | predictions of a trained network |
| `evaluate` | measures and curves from predictions |

A job may have further files, each named for the one thing of its method that it holds, such as `rotations`.
"""
