"""What the fields of settings are made of."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.settings import checks

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Proxies = Annotated[str, AfterValidator(checks.proxies)]
Origins = Annotated[str, AfterValidator(checks.origins)]
Retentions = Annotated[str, AfterValidator(checks.retentions)]
HttpUrl = Annotated[str, AfterValidator(checks.http_url)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class FamilySettings(BaseModel):
    """The fields of a family, each with its docstring: `Settings` has them too, whichever modules `families` lists."""

    model_config = ConfigDict(use_attribute_docstrings=True)
