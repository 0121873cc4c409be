// Judges photographs with an exported detector: one line for each binary PPM (P6, 8 bits) with its score and label.
//
//   anomaly export RUN --format onnx
//   g++ -O2 -std=c++17 judge.cpp -I ONNXRUNTIME/include -L ONNXRUNTIME/lib -lonnxruntime -o judge
//   ./judge results/runs/RUN/exports/model.onnx part.ppm another.ppm
//
// Resizing, normalization and thresholds are in the file: it takes RGB from 0 to 1, of any height and width.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Photograph {
    int64_t height = 0, width = 0;
    std::vector<float> planes;  // red, green, blue, each row by row
};

static Photograph read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int most = 0;
    Photograph photograph;
    if (!(file >> kind >> photograph.width >> photograph.height >> most) || kind != "P6" || most != 255)
        throw std::runtime_error(path + " is no binary PPM of 8 bits");
    file.get();  // the one blank before the pixels
    const int64_t count = photograph.height * photograph.width;
    std::vector<unsigned char> pixels(3 * count);
    if (!file.read(reinterpret_cast<char*>(pixels.data()), pixels.size()))
        throw std::runtime_error(path + " is cut short");
    photograph.planes.resize(3 * count);
    for (int64_t place = 0; place < count; ++place)
        for (int color = 0; color < 3; ++color)
            photograph.planes[color * count + place] = pixels[3 * place + color] / 255.0f;
    return photograph;
}

int main(int argc, char** argv) try {
    if (argc < 3) throw std::runtime_error("usage: judge model.onnx photograph.ppm ...");
    Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "judge");
    Ort::Session session(environment, argv[1], Ort::SessionOptions{});
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const char* inputs[] = {"images"};
    const char* outputs[] = {"score", "label"};
    for (int number = 2; number < argc; ++number) {
        Photograph photograph = read(argv[number]);
        const std::array<int64_t, 4> shape = {1, 3, photograph.height, photograph.width};
        auto& planes = photograph.planes;
        auto image = Ort::Value::CreateTensor<float>(memory, planes.data(), planes.size(), shape.data(), shape.size());
        auto found = session.Run(Ort::RunOptions{}, inputs, &image, 1, outputs, 2);
        const bool abnormal = *found[1].GetTensorData<bool>();
        std::printf("%s\t%.6g\t%s\n", argv[number], *found[0].GetTensorData<float>(), abnormal ? "abnormal" : "normal");
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
}
