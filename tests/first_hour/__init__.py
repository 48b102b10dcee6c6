"""The first hour of a new user, in small: kinds of models, judges and prompt files, each through two rounds."""
