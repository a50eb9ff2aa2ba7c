/* Labels one picture with a network that `fleetseg export --format openvino` wrote, and prints how much of it each
 * class has. OpenVINO's Python package carries the headers and libraries: nothing else is needed.
 *
 *   fleetseg export enet-camvid --format openvino --size 480x360 --preprocess --head classes --out street.xml
 *   OPENVINO=$(python -c "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent)")
 *   g++ -std=c++17 -O2 -isystem $OPENVINO/include segment.cpp $OPENVINO/libs/libopenvino.so.* \
 *       -Wl,-rpath,$OPENVINO/libs -o segment
 *   ./segment street.xml street.ppm classes.pgm
 *
 * The picture is a binary PPM (P6) of the size that was exported; the classes are written as a binary PGM.
 */
#include <openvino/openvino.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

// Reads the pixels straight into the network's input, a uint8 tensor of shape (1, height, width, 3).
static void read_picture(const std::string& path, ov::Tensor& pixels)
{
    const size_t height = pixels.get_shape()[1], width = pixels.get_shape()[2];
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error(path + ": cannot be opened");
    std::string kind;
    size_t found_width = 0, found_height = 0, largest = 0;
    file >> kind >> found_width >> found_height >> largest;
    file.get();
    if (!file || kind != "P6" || found_width != width || found_height != height || largest != 255)
        throw std::runtime_error(path + ": a binary PPM of " + std::to_string(width) + "x" + std::to_string(height) +
                                 " is needed");
    if (!file.read(reinterpret_cast<char*>(pixels.data<uint8_t>()), static_cast<std::streamsize>(pixels.get_size())))
        throw std::runtime_error(path + ": is cut short");
}

static void write_classes(const std::string& path, const ov::Tensor& classes)
{
    std::ofstream file(path, std::ios::binary);
    file << "P5 " << classes.get_shape()[2] << " " << classes.get_shape()[1] << " 255\n";
    file.write(reinterpret_cast<const char*>(classes.data<uint8_t>()), static_cast<std::streamsize>(classes.get_size()));
    file.close();
    if (!file)
        throw std::runtime_error(path + ": cannot be written");
}

static void print_shares(const ov::Tensor& classes)
{
    std::array<size_t, 256> counts{};
    for (size_t i = 0; i < classes.get_size(); i++)
        counts[classes.data<uint8_t>()[i]]++;
    for (size_t id = 0; id < counts.size(); id++)
        if (counts[id])
            std::printf("class %zu: %.2f%%\n", id, 100.0 * double(counts[id]) / double(classes.get_size()));
}

int main(int argc, char** argv)
{
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " MODEL.xml PICTURE.ppm CLASSES.pgm\n";
        return 2;
    }
    try {
        if (!std::ifstream(argv[1]))
            throw std::runtime_error(std::string(argv[1]) + ": cannot be opened");
        ov::Core core;
        // f32: some processors would otherwise compute in bf16.
        auto network = core.compile_model(argv[1], "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                          ov::hint::inference_precision(ov::element::f32));
        const ov::Output<const ov::Node> input = network.input(), output = network.output();
        if (input.get_element_type() != ov::element::u8 || output.get_element_type() != ov::element::u8 ||
            input.get_partial_shape().is_dynamic())
            throw std::runtime_error(std::string(argv[1]) + ": export it with --size, --preprocess and --head classes");
        ov::InferRequest request = network.create_infer_request();
        ov::Tensor pixels = request.get_input_tensor();
        read_picture(argv[2], pixels);
        request.infer();
        const ov::Tensor classes = request.get_output_tensor();
        print_shares(classes);
        write_classes(argv[3], classes);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
