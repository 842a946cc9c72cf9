"""The settings of a process: `load_settings()` reads them, `models.settings.derived` combines them."""

from models.settings.settings import ENV_PREFIX, Environment, LogLevel, Settings, SettingsError, load_settings

__all__ = ["ENV_PREFIX", "Environment", "LogLevel", "Settings", "SettingsError", "load_settings"]
