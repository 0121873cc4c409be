"""From the photographs of a part to a verdict about it."""

import asyncio
from collections.abc import Sequence

from inference_code.service.schemas import ImageAnswer, ImageError, Options, PartAnswer, PartOptions, ViewAnswer
from inference_code.service.services.models import Model
from inference_code.service.services.prediction import PredictionService
from inference_code.verdicts import Seen, check_rule, p_value
from training_code.foundation.errors import InputError
from training_code.records.scores import CalibrationScores


async def judge_part(
    service: PredictionService, images: Sequence[bytes], options: Options, how: PartOptions
) -> PartAnswer:
    """Return the verdict about a part, and what was found in each of its views.

    Parameters
    ----------
    images
        One for each view, in the order of `PartOptions.views`.

    Raises
    ------
    InputError
        If there are more images than views, a rule or a model is unknown, or lacks what the rule needs; as
        `PredictionService.predict` does otherwise.
    """
    rule = check_rule(how.rule, how.alpha)
    views = how.views.split(",") if how.views else [str(number + 1) for number in range(len(images))]
    models = how.models.split(",") if how.models else [None] * len(views)
    if len(images) > len(views) or len(models) != len(views) or len(set(views)) < len(views) or not all(views):
        raise InputError(
            f"{len(images)} images, {len(views)} views and {len(models)} models do not fit together; valid: different "
            "names of views, as many models or none, and at most as many images"
        )
    runs = [service.models.get(name or options.model) for name in models[: len(images)]]
    calibrations = [_calibration(model, rule.by_p_values) for model in runs]
    found = await _predict(service, images, runs, options)
    answers, seen = [], []
    for view, model, answer, calibration in zip(views, runs, found, calibrations, strict=False):
        score = None if isinstance(answer, ImageError) else answer.score
        p = None if calibration is None or score is None else p_value(score, calibration)
        if isinstance(answer, ImageError):
            seen.append(Seen(view, None))
        elif answer.abnormal is None:
            raise InputError(f"{model.name} has no threshold for images, which a verdict needs")
        else:
            seen.append(Seen(view, answer.abnormal, answer.normalised_score, p))
        answers.append(ViewAnswer(view=view, model=model.name, p_value=p, found=answer))
    verdict = rule.judge(seen, len(views), views[len(images) :])
    return PartAnswer(
        verdict=verdict.verdict, reason=verdict.reason, score=verdict.score, p_value=verdict.p_value, views=answers
    )


async def _predict(
    service: PredictionService, images: Sequence[bytes], models: Sequence[Model], options: Options
) -> list[ImageAnswer | ImageError]:
    """Return what is said of each image by its model; those of one model are predicted, and counted, together."""
    places: dict[str, list[int]] = {}
    for place, model in enumerate(models):
        places.setdefault(model.name, []).append(place)
    together = await asyncio.gather(
        *(
            service.predict([images[place] for place in own], options.model_copy(update={"model": name}))
            for name, own in places.items()
        )
    )
    found = {
        place: answer
        for own, (_, answers) in zip(places.values(), together, strict=True)
        for place, answer in zip(own, answers, strict=True)
    }
    return [found[place] for place in range(len(images))]


def _calibration(model: Model, needed: bool) -> CalibrationScores | None:
    """Return the scores that p-values go by."""
    try:
        return model.predictor.calibration()
    except (OSError, ValueError) as error:
        if needed:
            raise InputError(f"p-values of {model.name} need its calibration.csv") from error
        return None
