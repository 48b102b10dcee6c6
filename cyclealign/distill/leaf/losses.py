"""Loss of LEAF: vectors in, a scalar out. Shapes: ``B`` texts, ``D`` dimensions of the teacher's space."""

import torch
from torch import Tensor


def embedding_distance(student_BD: Tensor, teacher_BD: Tensor, squared: bool = False) -> Tensor:
    """Return L = mean_b ||y_b - yhat_b||_2, or the mean of its square.

    LEAF (arXiv 2509.12539); whether the paper squares is open, see docs/methods.md. `nn.MSELoss` is another loss: it
    also divides by D.

    Args:
        student_BD: the student's vectors yhat, shape (B, D).
        teacher_BD: the teacher's vectors y, shape (B, D); they get no gradient.

    Raises:
        ValueError: the shapes differ; broadcasting would hide it.
    """
    if student_BD.shape != teacher_BD.shape:
        raise ValueError(f"student vectors are {tuple(student_BD.shape)}, teacher vectors {tuple(teacher_BD.shape)}")
    difference_BD = student_BD - teacher_BD.detach()
    if squared:
        return difference_BD.square().sum(-1).mean()
    return torch.linalg.vector_norm(difference_BD, dim=-1).mean()
