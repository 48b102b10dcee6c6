"""The black-box judge: prompts to it, replies from it, rankings out of its verdicts. Import from the submodules."""
