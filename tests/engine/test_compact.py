"""Channels that zeros have emptied are removed, and what they added is folded: numbers worked out by hand."""

import copy

import pytest
import torch
from compact_nets import ONES, ZEROS, Steps, conv, emptied_before, linear, norm, plain, points, tensors
from emptied import the_same
from torch import nn


def test_before_a_padded_convolution_a_map_is_added_that_differs_at_the_border():
    made = the_same(emptied_before(conv([[ONES, ONES]], bias=[1.0], padding=1)), (1, 4, 4))
    assert made.layers == {"first": (1, 2), "last": (1, 1)}
    (added,) = tensors(made, "added")
    # ones times 2 over what of the 3x3 lies inside, and the bias: 4, 6 or 9 places
    assert added.tolist() == [[[[9, 13, 13, 9], [13, 19, 19, 13], [13, 19, 19, 13], [9, 13, 13, 9]]]]
    assert not tensors(made, "last_bias")
    net = copy.deepcopy(made.net)
    net.get_buffer(next(name for name, _ in net.named_buffers() if "added" in name)).fill_(19)  # a plain bias
    images = torch.randn(2, 1, 4, 4)
    wrong = torch.tensor([[10.0, 6, 6, 10], [6, 0, 0, 6], [6, 0, 0, 6], [10, 6, 6, 10]])
    assert torch.allclose((net(images) - made.net(images))[0, 0], wrong, atol=1e-5)


@pytest.mark.parametrize(
    ("last", "bias"),
    [
        (points([5, 3], [1, 0], bias=[1.0, 4.0]), [7.0, 4.0]),
        (points([5, 3]), [6.0]),
        (conv([[ONES, ONES]]), [18.0]),  # no padding, no border
        (conv([[ONES, ONES]], padding="valid", stride=2), [18.0]),
    ],
)
def test_where_all_places_get_the_same_it_goes_into_the_bias(last, bias):
    made = the_same(emptied_before(last), (1, 4, 4))
    assert made.layers["first"] == (1, 2)
    assert tensors(made, "last_bias")[0].tolist() == bias
    assert not tensors(made, "added")


def test_a_constant_of_zero_needs_no_map():
    net = plain(first=points([1], [0]), relu=nn.ReLU(), last=conv([[ONES, ONES]], padding=1))
    made = the_same(net, (1, 4, 4))
    assert made.layers["first"] == (1, 2)
    assert not tensors(made, "added")
    assert not tensors(made, "bias")


def test_a_channel_that_nothing_reads_is_removed_with_all_that_it_alone_reads():
    net = plain(a=points([1], [2], [3]), b=points([1, 1, 0], [0, 0, 1]), relu=nn.ReLU(), c=points([1, 0], bias=[2.0]))
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (2, 3), "b": (1, 2), "c": (1, 1)}
    assert (made.before, made.after) == (6, 4)
    # 3 + 6 + 2 and 2 + 2 + 1 products at each of four places
    assert (made.macs_before, made.macs_after) == (44, 20)


def residual(stem, branch):
    return Steps(
        lambda self, x: self.last(torch.relu((y := self.stem(x)) + self.branch(y))),
        stem=stem,
        branch=branch,
        last=points([1, 2], bias=[0.5]),
    )


def test_channels_that_are_added_go_only_together():
    made = the_same(residual(points([1], [1]), points([1, 1], [0, 0], bias=[1.0, 3.0])), (1, 2, 2))
    assert not made.changed
    made = the_same(residual(points([1], [0], bias=[1.0, 2.0]), points([1, 1], [0, 0], bias=[1.0, 3.0])), (1, 2, 2))
    assert made.layers == {"stem": (1, 2), "branch": (1, 2), "last": (1, 1)}
    assert tensors(made, "branch_bias")[0].tolist() == [3.0]  # 1, and 2 of the stem's constant
    assert tensors(made, "last_bias")[0].tolist() == [10.5]  # 2 + 3, twice


def test_a_branch_that_is_the_same_for_every_image_is_no_longer_computed():
    made = the_same(residual(points([1], [1]), points([0, 0], [0, 0], bias=[1.0, 3.0])), (1, 2, 2))
    assert made.changed
    assert made.layers == {"stem": (2, 2), "branch": (0, 2), "last": (1, 1)}
    assert [value.flatten().tolist() for value in tensors(made, "fixed")] == [[1.0, 3.0]]


def test_concatenated_channels_are_removed_one_by_one():
    def forward(self, x):
        return self.last(torch.cat([self.a(x), self.b(x), x], 1))

    net = Steps(
        forward,
        a=points([1], [0], bias=[0.0, 1.0]),
        b=points([0], [2], bias=[2.0, 0.0]),
        last=points([1, 2, 3, 4, 5], bias=[0.0]),
    )
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (1, 2), "b": (1, 2), "last": (1, 1)}
    assert tensors(made, "last_weight")[0].flatten().tolist() == [1, 4, 5]
    assert tensors(made, "last_bias")[0].tolist() == [8.0]


def test_flattened_channels_lose_all_of_their_places():
    net = plain(
        a=points([1], [0], bias=[0.0, 3.0]), pool=nn.MaxPool2d(2), flat=nn.Flatten(), fc=linear(range(8), bias=[1.0])
    )
    made = the_same(net, (1, 4, 4))
    assert made.layers == {"a": (1, 2), "fc": (1, 1)}
    assert tensors(made, "fc_weight")[0].tolist() == [[0, 1, 2, 3]]
    assert tensors(made, "fc_bias")[0].tolist() == [1 + 3 * (4 + 5 + 6 + 7)]


def test_a_view_of_a_fixed_size_and_a_mean_over_places():
    net = Steps(
        lambda self, x: torch.cat([self.fc((y := self.a(x)).contiguous().view(-1, 8)), self.head(y.mean((2, 3)))], 1),
        a=points([1], [0], bias=[0.0, 3.0]),
        fc=linear(range(8)),
        head=linear([1, 1]),
    )
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (1, 2), "fc": (1, 1), "head": (1, 1)}
    assert tensors(made, "head_bias")[0].tolist() == [3.0]


def test_a_depthwise_convolution_goes_with_its_channel():
    net = plain(
        a=points([1], [0], [1], bias=[0, 1.0, 0]),
        dw=conv([[ONES], [ONES], [ZEROS]], bias=[0.0, 0, 7], padding=1, groups=3),
        last=points([1, 1, 1], bias=[0.0]),
    )
    made = the_same(net, (1, 4, 4))
    # the second is known since it reads nothing, the third since nothing reads the first layer's
    assert made.layers == {"a": (1, 3), "dw": (1, 3), "last": (1, 1)}
    (added,) = tensors(made, "added")
    assert added.flatten().tolist() == [11, 13, 13, 11, 13, 16, 16, 13, 13, 16, 16, 13, 11, 13, 13, 11]


def test_groups_stay_or_go_as_a_whole():
    groups = [[[1, 1]], [[0, 1]], [[1, 0]], [[0, 0]], [[0, 0]], [[0, 0]]]
    weights = [[[[value]] for value in row[0]] for row in groups]
    net = plain(a=points(*[[1.0]] * 6), g=conv(weights, bias=[0.0, 0, 0, 0, 5, 6], groups=3), last=points([1] * 6))
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (4, 6), "g": (4, 6), "last": (1, 1)}
    assert tensors(made, "last_bias")[0].tolist() == [11.0]


def test_a_dead_layer_leaves_constant_logits():
    net = plain(
        a=points([1], [1]),
        b=conv([[ZEROS, ZEROS]], bias=[2.0], padding=1),
        c=conv([[ONES]], padding=1),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=linear([1], [3], bias=[0.5, 0]),
    )
    made = the_same(net, (1, 4, 4))
    assert made.after == 0
    assert made.macs_after == 0
    assert made.net(torch.randn(5, 1, 4, 4))[4].tolist() == pytest.approx([13, 37.5])  # 2 * (4*4 + 8*6 + 4*9) / 16


def test_a_network_without_empty_channels_is_given_back():
    net = plain(a=points([1], [2]), b=points([1, 1]))
    made = the_same(net, (1, 2, 2))
    assert made.net is net
    assert not made.changed
    assert made.layers == {"a": (2, 2), "b": (1, 1)}
    assert made.macs_before == made.macs_after == 16


def test_a_factor_of_zero_empties_a_channel():
    def forward(self, x):
        y, gate = self.a(x), torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.last(self.bn(y * gate))

    bn = norm(1.0, 2.0, 3.0)
    bn.weight.data[2] = 0
    net = Steps(forward, a=points([1], [0], [1]), gate=points([1], [1], [1]), bn=bn, last=points([1, 1, 1], bias=[0.0]))
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (1, 3), "gate": (1, 3), "last": (1, 1)}
    assert tensors(made, "last_bias")[0].tolist() == [5.0]


def test_parameters_that_act_on_channels_are_cut_too():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([2.0, 3.0, 0.0]).reshape(3, 1, 1))
            self.slope = nn.PReLU(3)

        def forward(self, x):
            return self.slope(self.scale * x + 1)

    made = the_same(plain(a=points([1], [0], [1]), scale=Scale(), last=points([1, 1, 1])), (1, 2, 2))
    assert made.layers["a"] == (1, 3)
    assert tensors(made, "scale_scale")[0].shape == (1, 1, 1)
    assert tensors(made, "last_bias")[0].tolist() == [2.0]


def test_a_linear_map_of_tokens_gets_a_map_where_tokens_differ():
    def forward(self, x):
        tokens = self.a(x).flatten(2).transpose(1, 2)
        return self.fc(torch.relu(tokens + self.place)).flatten(1)

    net = Steps(forward, a=points([1], [0]), fc=linear([1, 10], bias=[0.5]))
    net.place = nn.Parameter(torch.tensor([[0.0, 1], [0, 2], [0, 3], [0, 4]]))
    made = the_same(net, (1, 2, 2))
    assert made.layers == {"a": (1, 2), "fc": (1, 1)}
    assert tensors(made, "added")[0].flatten().tolist() == [10.5, 20.5, 30.5, 40.5]


def test_where_images_are_mixed_with_places_only_even_constants_are_folded():
    def forward(self, x):
        rows = self.a(x).permute(0, 2, 3, 1).reshape(-1, 3)  # images and places in one dimension
        return self.fc(rows + self.more).reshape(-1, 4)

    net = Steps(forward, a=conv([[ONES], [ZEROS], [ZEROS]], bias=[0.0, 1, 2], padding=1), fc=linear([1, 2, 3]))
    net.more = nn.Parameter(torch.tensor([0.0, 1, 1]))
    made = the_same(net, (1, 2, 2))
    assert made.layers["a"] == (1, 3)
    assert tensors(made, "fc_bias")[0].tolist() == [2 * 2 + 3 * 3]


def test_shuffled_chunked_and_padded_channels_are_followed():
    def forward(self, x):
        y = self.a(x).reshape(-1, 2, 2, 2, 2).transpose(1, 2).flatten(1, 2)  # 0 2 1 3
        first, second = y.chunk(2, 1)
        return self.last(torch.cat([nn.functional.pad(first, (0, 0, 0, 0, 1, 1)), second], 1))

    net = Steps(forward, a=points([1], [2], [0], [3], bias=[0.0, 0, 5, 0]), last=points([1, 2, 3, 4, 5, 6]))
    made = the_same(net, (1, 2, 2))
    assert made.layers["a"] == (3, 4)
    assert tensors(made, "last_weight")[0].flatten().tolist() == [2, 5, 6]
    assert tensors(made, "last_bias")[0].tolist() == [15.0]


def test_what_is_written_under_another_name_is_not_taken_for_known():
    def forward(self, x):
        y = self.a(x)
        y[:, 1:] += x  # through a view
        return self.last(y)

    made = the_same(Steps(forward, a=points([1], [0]), last=points([1, 1])), (1, 2, 2))
    assert not made.changed


def test_operations_in_place_stay_right_where_their_inputs_are_used_again():
    def forward(self, x):
        y = self.a(x)
        z = self.b(y)
        y.add_(1)
        y.relu_()
        return self.last(torch.cat([y, z], 1))

    net = Steps(forward, a=points([1], [0], bias=[0.0, 2.0]), b=points([1, 1]), last=points([1, 2, 3]))
    made = the_same(net, (1, 2, 2))
    assert made.layers["a"] == (1, 2)
    assert tensors(made, "last_bias")[0].tolist() == [6.0]


def test_a_layer_norm_needs_all_channels():
    net = Steps(lambda self, x: self.norm(self.a(x).mean((2, 3))), a=points([1], [0]), norm=nn.LayerNorm(2))
    assert not the_same(net, (1, 2, 2)).changed
