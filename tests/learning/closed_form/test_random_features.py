"""Random features follow from the seed alone, and read unit vectors whatever the scale of the hidden states."""

import torch

from streamlearn.learning.closed_form.random_features import LayerFeatures

CPU = torch.device("cpu")


def hidden(n=9):
    return torch.randn(n, 2, 16, generator=torch.Generator().manual_seed(1)) * 7


def test_each_layer_has_its_share_of_the_features():
    own = LayerFeatures(2, 16, 65, seed=0, device=CPU)
    assert own.size == 64
    assert own.expand(own.centred(hidden())).shape == (9, 64)


def test_what_is_read_is_one_unit_vector_of_all_layers():
    own = LayerFeatures(2, 16, 64, seed=0, device=CPU)
    own.centre(hidden(64))
    centred = own.centred(hidden())
    assert torch.allclose(centred.flatten(1).norm(dim=1), torch.ones(9), atol=1e-6)
    assert torch.allclose(centred, own.centred(3 * hidden()), atol=1e-6)


def test_the_projections_are_drawn_from_the_seed_and_come_back_with_it():
    one, same, other = (LayerFeatures(2, 16, 64, seed=seed, device=CPU) for seed in (0, 0, 1))
    assert torch.equal(one.projections, same.projections)
    assert not torch.equal(one.projections, other.projections)
    one.centre(hidden(64))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.expand(other.centred(hidden())), one.expand(one.centred(hidden())))
