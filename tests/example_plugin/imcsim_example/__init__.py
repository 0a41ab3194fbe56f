"""An example of a package that brings a device, an ADC, a write circuit, a scheme and presets to imcsim."""
