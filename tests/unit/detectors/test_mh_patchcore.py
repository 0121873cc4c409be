import pytest
import torch
from anomalib.models.image.mh_patchcore.components import MergeReduceMemoryBank as AnomalibMergeReduceMemoryBank
from anomalib.models.image.mh_patchcore.components import StreamingPCA, _farthest_first_coreset
from anomalib.models.image.mh_patchcore.torch_model import _adaptive_avg_pool1d
from helpers.plain import both_tested

from inference_code.graphs.patches import AdaptiveMean
from training_code.detectors.mh_patchcore.model import MergeReduceMemoryBank, PrincipalComponents, farthest_first


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.slow
def test_scores_and_auroc_are_anomalibs(tiny_dataset):
    arguments = {"layers": ["blocks.2", "blocks.4"], "memory_bank_size": 100, "local_coreset_size": 60}
    own, plain = both_tested("MHPatchcore", tiny_dataset, arguments, epochs=3, batch_size=4, block_images=4)
    assert own.auroc == pytest.approx(plain.auroc, abs=1e-3)
    torch.testing.assert_close(own.scores, plain.scores, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(own.maps, plain.maps, rtol=1e-3, atol=1e-2)
    assert len(own.detector.model.memory_bank.bank) == len(plain.detector.model.memory_bank.bank) == 100


@pytest.mark.parametrize("target", [1, 50, 199, 200, 300])
def test_the_coreset_is_anomalibs_in_its_order(target):
    points = torch.randn(200, 12, dtype=torch.float64)
    assert torch.equal(farthest_first(points, target), _farthest_first_coreset(points, target))


@pytest.mark.parametrize("batches", [[7] * 12, [84], [28, 28, 28], [1, 83], [50, 30, 4]])
def test_the_memory_is_that_of_anomalibs_batches_whatever_the_batches_are(batches):
    images, patches, block = 84 // 7, 7, 4
    points = torch.randn(images * patches, 5, dtype=torch.float64)
    theirs = AnomalibMergeReduceMemoryBank(memory_bank_size=20, local_coreset_size=9)
    for each in points.split(block * patches):
        theirs.update(each)
    theirs.finalize()
    own = MergeReduceMemoryBank(memory_bank_size=20, local_coreset_size=9)
    own.block_images, own.patches = block, patches
    for each in points.split(batches):
        own.update(each)
    own.finalize()
    assert torch.equal(own.bank, theirs.bank)


def test_principal_components_are_those_of_a_decomposition_of_all_patches():
    points = 10 + torch.randn(300, 20) @ torch.randn(20, 20)
    own, theirs = PrincipalComponents(0.9), StreamingPCA(0.9)
    for pca in (own, theirs):
        for batch in points.split(100):
            pca.update(batch)
        pca.finalize()
    assert own.num_components == theirs.num_components < 20
    torch.testing.assert_close(own(points).abs(), theirs(points).abs(), rtol=1e-3, atol=1e-3)
    assert set(own.state_dict()) == set(theirs.state_dict())


@pytest.mark.parametrize(("length", "wanted"), [(360, 1024), (4608, 1024), (1024, 1024), (10, 4), (3, 7)])
def test_the_adaptive_mean_of_graphs_is_torchs(length, wanted):
    rows = torch.randn(2, 3, length)
    expected = _adaptive_avg_pool1d(rows.flatten(0, 1), length, wanted).reshape(2, 3, wanted)
    torch.testing.assert_close(AdaptiveMean(length, wanted)(rows), expected, rtol=1e-5, atol=1e-5)
