"""``python -m spacenet_cube`` is ``spacenet-cube``."""

from spacenet_cube.cli.app import main

if __name__ == "__main__":
    main()
